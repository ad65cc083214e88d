"""Pages of limits, below /w/<workspace>/compute/quota/."""

from django.urls import path

from compute.quotas import asking_views as asking
from compute.quotas import people_views, table_views, views

urlpatterns = [
    path("", views.quota, name="quota"),  # ?all=1&open=<slug>
    path("uses/<str:family>/<str:priority>/", views.quota_uses, name="quota_uses"),
    path("nodes/<str:name>/", views.quota_nodes, name="quota_nodes"),
    path("limit/", views.limit, name="limit"),  # ?of=studio|workspace|team-1|person-1&family=&priority=
    path("people/", people_views.quota_people, name="quota_people"),  # ?family=&priority=
    path("budget/", people_views.budget, name="budget"),  # ?of=workspace|team-1|person-1
    path("export/", table_views.export_limits, name="export_limits"),
    path("import/", table_views.import_limits, name="import_limits"),
    path("requests/", asking.quota_requests, name="quota_requests"),
    path("requests/new/", asking.ask_quota, name="ask_quota"),  # ?size=&priority=&min_nodes=&max_nodes=&back=
    path("requests/<int:pk>/", asking.quota_request, name="quota_request"),
]
