"""Pages of runs and experiments, below /w/<workspace>/."""

from django.urls import path

from runs import views

app_name = "runs"
urlpatterns = [
    path("submit/", views.submit, name="submit"),  # ?target=…&experiment=…&like=<run_id>
    path("runs/", views.run_list, name="list"),
    path("runs/archive/", views.archive_runs, name="archive_many"),
    path("runs/<str:run_id>/", views.run_detail, name="detail"),  # ?tab=logs|details|outputs|snapshot|children|raw
    path("runs/<str:run_id>/header/", views.run_header, name="header"),
    path("runs/<str:run_id>/row/", views.run_row, name="row"),
    path("runs/<str:run_id>/cancel/", views.cancel, name="cancel"),
    path("runs/<str:run_id>/resubmit/", views.resubmit, name="resubmit"),
    path("runs/<str:run_id>/edit/", views.edit, name="edit"),  # description and tags
    path("runs/<str:run_id>/logs/<path:stream>", views.download_log, name="log"),  # raw bytes, HTTP Range
    path("runs/<str:run_id>/outputs/<int:attempt>/<path:path>", views.output, name="output"),  # ?view=preview
    path("runs/<str:run_id>/outputs.zip", views.outputs_zip, name="outputs_zip"),
    path("runs/<str:run_id>/snapshot.zip", views.snapshot_zip, name="snapshot_zip"),
    path("runs/<str:run_id>/snapshot/<path:path>", views.snapshot_file, name="snapshot_file"),
    path("experiments/", views.experiment_list, name="experiments"),
    path("experiments/<str:name>/", views.experiment_detail, name="experiment"),
    path("experiments/<str:name>/edit/", views.edit_experiment, name="edit_experiment"),  # tags, description, archive
]
