"""Pages of limits, below /w/<workspace>/compute/quota/."""

from django.urls import path

from compute.quotas import asking_views as asking

urlpatterns = [
    path("requests/", asking.quota_requests, name="quota_requests"),
    path("requests/new/", asking.ask_quota, name="ask_quota"),  # ?size=&priority=&min_nodes=&max_nodes=&back=
    path("requests/<int:pk>/", asking.quota_request, name="quota_request"),
]
