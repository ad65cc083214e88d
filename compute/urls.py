"""Pages of compute targets, below /w/<workspace>/compute/."""

from django.urls import include, path

from compute import views
from compute.prices import views as prices

app_name = "compute"
urlpatterns = [
    path("", views.target_list, name="list"),
    path("delete/", views.delete_targets, name="delete_many"),
    path("attach/<str:kind>/", views.attach_target, name="attach"),
    path("azure/", views.azure_sign_in, name="azure"),
    path("azure/test/", views.test_azure_sign_in, name="azure_test"),
    path("create/", views.create_cluster, name="create"),
    path("quota/", include("compute.quotas.urls")),
    path("prices/", prices.price_list, name="prices"),
    path("prices/machines/<str:name>/", prices.price_machine, name="price_machine"),
    path("prices/targets/<str:name>/", prices.price_target, name="price_target"),
    path("targets/<str:name>/", views.target_detail, name="detail"),  # ?tab=overview|connection|nodes|runs|activity
    path("targets/<str:name>/row/", views.target_row, name="row"),
    path("targets/<str:name>/scale/", views.edit_scale, name="scale"),
    path("targets/<str:name>/identity/", views.edit_identity, name="identity"),
    path("targets/<str:name>/delete/", views.delete_target, name="delete"),
    path("targets/<str:name>/connection/", views.edit_connection, name="connection"),
    path("targets/<str:name>/look/", views.look_again, name="look_again"),
    path("targets/<str:name>/host-key/", views.accept_host_key, name="accept_host_key"),
    path("targets/<str:name>/detach/", views.detach_target, name="detach"),
    path("targets/<str:name>/nodes/<str:node_id>/preempt/", views.preempt_node, name="preempt"),
]
