"""Dashboards of a workspace, below /w/<workspace>/dashboards/."""

from django.urls import path

from studio.dashboards import views

app_name = "dashboards"
urlpatterns = [
    path("", views.dashboard_list, name="list"),
    path("<int:pk>/", views.show, name="show"),
    path("<int:pk>/wall", views.wall, name="wall"),  # without a slash: addresses of tiles are the same from here
    path("<int:pk>/share/", views.share, name="share"),
    path("<int:pk>/edit/", views.edit, name="edit"),
    path("<int:pk>/delete/", views.delete, name="delete"),
    path("<int:pk>/links/", views.make_link, name="make_link"),
    path("<int:pk>/links/<int:link>/", views.revoke_link, name="revoke_link"),
    path("<int:pk>/add/<str:kind>/", views.add_tile, name="add_tile"),
    path("<int:pk>/tiles/<int:tile>/", views.edit_tile, name="edit_tile"),
    path("<int:pk>/tiles/<int:tile>/place/", views.place_tile, name="place_tile"),
    path("<int:pk>/tiles/<int:tile>/remove/", views.remove_tile, name="remove_tile"),
    path("<int:pk>/tiles/<int:tile>.csv", views.tile_csv, name="csv"),
]
