"""Pages of notifications, below /w/<workspace>/notifications/."""

from django.urls import path

from studio.notifications import views

app_name = "notifications"
urlpatterns = [
    path("", views.webhooks, name="webhooks"),
    path("new/", views.new_webhook, name="new"),
    path("<int:pk>/", views.webhook, name="webhook"),  # ?before=
    path("<int:pk>/test/", views.test_webhook, name="test"),
    path("<int:pk>/secret/", views.renew_secret, name="secret"),
    path("<int:pk>/delete/", views.delete_webhook, name="delete"),
    path("<int:pk>/deliveries/<int:delivery>/again/", views.deliver_again, name="again"),
]
