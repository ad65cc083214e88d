"""The door for pages. Everything of a workspace lies below /w/<workspace>/."""

from django.urls import include, path, re_path

from studio import settings_page, shell
from studio.api import badges
from studio.api.gate import gate, metrics
from studio.api.page import api_page
from studio.dashboards import links
from studio.notifications.views import choose_mail, unsubscribe
from studio.people import activity_views as activity
from studio.people import token_views as tokens
from studio.people import views as people

handler400 = "studio.bodies.bad_request"
handler500 = "studio.broken.unexpected"
handler429 = "studio.people.throttle.handler429"  # asked by the accounts library
urlpatterns = [
    path("", shell.start, name="start"),
    path("healthz", shell.healthz, name="healthz"),
    path("badges/<str:token>.svg", badges.badge_svg, name="badge"),
    path("badges/<str:token>.txt", badges.badge_text, name="badge_text"),
    path("w/<str:workspace>/badges/", badges.make_badge, name="make_badge"),
    path("w/<str:workspace>/badges/<int:pk>/revoke/", badges.revoke_badge, name="revoke_badge"),
    path("metrics", metrics, name="metrics"),
    path("api/v1/", api_page, name="api_page"),
    re_path(r"^api/(?P<rest>[\s\S]+)$", gate, name="api"),  # whatever it is, it is answered as a program's
    path("accounts/", include("allauth.account.urls")),
    path("accounts/second-step/", include("studio.people.second_step_urls")),
    path("accounts/", include("studio.signin.urls")),
    path("sign-in/<str:token>/", people.sign_in_by_link, name="sign_in_by_link"),
    path("join/<str:token>/", people.join, name="join"),
    path("profile/", people.profile, name="profile"),
    path("profile/sessions/", people.end_session, name="end_session"),
    path("profile/notifications/", choose_mail, name="choose_mail"),
    path("unsubscribe/<str:token>/", unsubscribe, name="unsubscribe"),
    path("w/<str:workspace>/", shell.home, name="home"),
    path("w/<str:workspace>/settings/", settings_page.settings_page, name="settings"),
    path("w/<str:workspace>/settings/attaching/", settings_page.set_allowances, name="set_allowances"),
    path("w/<str:workspace>/search/", shell.search, name="search"),
    path("w/<str:workspace>/activity/", activity.activity, name="activity"),
    path("w/<str:workspace>/activity/export/", activity.export_activity, name="export_activity"),  # ?format=csv|jsonl
    path("w/<str:workspace>/members/", people.members, name="members"),
    path("w/<str:workspace>/members/add/", people.add_member, name="add_member"),
    path("w/<str:workspace>/members/invitations/<int:pk>/", people.edit_invitation, name="edit_invitation"),
    path("w/<str:workspace>/members/teams/", people.make_team, name="make_team"),
    path("w/<str:workspace>/members/teams/<int:pk>/", people.edit_team, name="edit_team"),
    path("w/<str:workspace>/tokens/", tokens.tokens, name="tokens"),  # ?of=all
    path("w/<str:workspace>/tokens/<int:pk>/revoke/", tokens.revoke_token, name="revoke_token"),
    path("w/<str:workspace>/members/<int:pk>/", people.edit_member, name="edit_member"),
    path("w/<str:workspace>/notifications/", include("studio.notifications.urls")),
    path("w/<str:workspace>/dashboards/", include("studio.dashboards.urls")),
    path("d/<str:token>/", links.wall, name="dashboard_link"),
    path("d/<str:token>/tiles/<int:tile>.csv", links.tile_csv, name="dashboard_link_csv"),
    path("w/<str:workspace>/compute/", include("compute.urls")),
    path("w/<str:workspace>/", include("runs.urls")),
]
