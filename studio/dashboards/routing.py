"""The addresses of the sockets of dashboards."""

from django.urls import path

from studio.dashboards.consumers import LinkConsumer, MemberConsumer

sockets = [
    path("ws/w/<str:workspace>/dashboards/<str:pk>/", MemberConsumer.as_asgi()),  # type: ignore[arg-type]
    path("ws/d/<str:token>/", LinkConsumer.as_asgi()),  # type: ignore[arg-type]
]
