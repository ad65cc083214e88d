"""Pages of runs and experiments, below /w/<workspace>/."""

from django.urls import path

from runs import (
    detail_views,
    experiment_views,
    list_views,
    log_questions,
    log_views,
    queue_views,
    submit_views,
    upload_views,
    usage_views,
)

app_name = "runs"
urlpatterns = [
    path("submit/", submit_views.submit, name="submit"),  # ?target=…&experiment=…&like=<run_id>
    path("submit/check/", submit_views.check, name="submit_check"),
    path("uploads/", upload_views.begin, name="begin_upload"),
    path("uploads/<str:upload_id>/", upload_views.upload, name="upload"),  # ?offset= for a piece
    path("runs/", list_views.run_list, name="list"),
    path("runs/archive/", list_views.archive_runs, name="archive_many"),
    path("runs/cancel/", list_views.cancel_runs, name="cancel_many"),
    path(
        "runs/<str:run_id>/", detail_views.run_detail, name="detail"
    ),  # ?tab=logs|details|outputs|snapshot|children|raw
    path("runs/<str:run_id>/header/", detail_views.run_header, name="header"),
    path("runs/<str:run_id>/row/", list_views.run_row, name="row"),
    path("runs/<str:run_id>/cancel/", detail_views.cancel, name="cancel"),
    path("runs/<str:run_id>/resubmit/", submit_views.resubmit, name="resubmit"),
    path("runs/<str:run_id>/edit/", detail_views.edit, name="edit"),  # description and tags
    path("runs/<str:run_id>/logs/<path:stream>/ask", log_questions.ask, name="ask_log"),  # lines, times, search
    path("runs/<str:run_id>/logs/<path:stream>", log_views.download_log, name="log"),  # raw bytes, HTTP Range
    path("runs/<str:run_id>/outputs/<int:attempt>/<path:path>", detail_views.output, name="output"),  # ?view=preview
    path("runs/<str:run_id>/outputs.zip", detail_views.outputs_zip, name="outputs_zip"),
    path("runs/<str:run_id>/snapshot.zip", detail_views.snapshot_zip, name="snapshot_zip"),
    path("runs/<str:run_id>/snapshot/<path:path>", detail_views.snapshot_file, name="snapshot_file"),
    path("usage/", usage_views.usage, name="usage"),  # ?whose=all&by=&range=&format=csv
    path("queue/", queue_views.queue, name="queue"),  # ?target=&person=
    path("queue/priority/", queue_views.set_priority, name="queue_priority"),
    path("queue/<str:run_id>/move/", queue_views.move, name="queue_move"),
    path("experiments/", experiment_views.experiment_list, name="experiments"),
    path("experiments/<str:name>/", experiment_views.experiment_detail, name="experiment"),
    path("experiments/<str:name>/edit/", experiment_views.edit_experiment, name="edit_experiment"),
]
