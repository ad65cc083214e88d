"""Addresses of signing in with providers; the first two by the names the accounts library looks for."""

from django.urls import path

from studio.signin import views

urlpatterns = [
    path("oidc/<slug:provider_id>/login/", views.begin, name="openid_connect_login"),
    path("oidc/<slug:provider_id>/login/callback/", views.callback, name="openid_connect_callback"),
    path("oidc/<slug:provider_id>/link/", views.link, name="link_sign_in"),
    path("links/<int:pk>/end/", views.unlink, name="unlink_sign_in"),
    path("providers/", views.providers, name="sign_in_providers"),
    path("providers/add/", views.provider_add, name="add_sign_in_provider"),
    path("providers/of/<slug:slug>/", views.provider_edit, name="sign_in_provider"),
    path("providers/of/<slug:slug>/remove/", views.provider_remove, name="remove_sign_in_provider"),
    path("providers/of/<slug:slug>/groups/", views.provider_groups, name="sign_in_groups"),
    path("providers/of/<slug:slug>/test/", views.provider_test, name="test_sign_in_provider"),
]
