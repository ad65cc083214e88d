"""The addresses of websockets."""

from django.urls import path

from compute.routing import sockets as compute_sockets
from runs.routing import sockets as run_sockets
from studio.consumers import LiveConsumer
from studio.dashboards.routing import sockets as dashboard_sockets

sockets = [
    path("ws/w/<str:workspace>/live/", LiveConsumer.as_asgi()),  # type: ignore[arg-type]
    *compute_sockets,
    *run_sockets,
    *dashboard_sockets,
]
