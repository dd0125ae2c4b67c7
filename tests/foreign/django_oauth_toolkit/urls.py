"""The package's views at Ory Hydra's paths, and ours beside them."""

from __future__ import annotations

import control
import lumin_api
from django.contrib.auth.views import LoginView
from django.urls import include, path
from oauth2_provider import views

oauth2_provider = [
    path("oauth2/auth", views.AuthorizationView.as_view(), name="authorize"),
    path("oauth2/token", views.TokenView.as_view(), name="token"),
    path("oauth2/revoke", views.RevokeTokenView.as_view(), name="revoke-token"),
    path("oauth2/sessions/logout", views.RPInitiatedLogoutView.as_view(), name="rp-initiated-logout"),
    path("userinfo", views.UserInfoView.as_view(), name="user-info"),
    path(".well-known/jwks.json", views.JwksInfoView.as_view(), name="jwks-info"),
    path(
        ".well-known/openid-configuration",
        views.ConnectDiscoveryInfoView.as_view(),
        name="oidc-connect-discovery-info",
    ),
]

urlpatterns = [
    path("", include((oauth2_provider, "oauth2_provider"))),
    path("login", LoginView.as_view()),
    path("v1/user/info", lumin_api.user_info),
    path("v1/signature_requests", lumin_api.signature_requests),
    path("oauth2/register", control.register),
    path("control/token-requests", control.token_requests),
]
