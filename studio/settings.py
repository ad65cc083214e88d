"""Every setting, read from the environment; NAME_FILE names a file that holds the value of a secret."""

import socket
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF
from environs import FileAwareEnv

from studio.paths import CHECKOUT, data_dir, last_url, own_queue_url

django_stubs_ext.monkeypatch()
env = FileAwareEnv()

# The studio's own
BASE_DIR = CHECKOUT
DATA_DIR = data_dir()
HOST_NAME = env.str("STUDIO_HOST_NAME", socket.gethostname())  # of this machine, for the others
LOG_DIR = Path(env.str("STUDIO_LOGS", str(DATA_DIR / "logs")))  # the runs' logs; shared by web and workers
SNAPSHOT_DIR = Path(env.str("STUDIO_SNAPSHOTS", str(DATA_DIR / "snapshots")))
JOB_DIR = Path(env.str("STUDIO_JOBS", str(DATA_DIR / "jobs")))  # working folders of jobs on this machine
ENVIRONMENT_DIR = Path(env.str("STUDIO_ENVIRONMENTS", str(DATA_DIR / "environments")))
OVERCOMMIT = env.float("STUDIO_OVERCOMMIT", 4.0)  # virtual CPUs per CPU of the host
RUN_DISK_BYTES = env.int("STUDIO_RUN_DISK_BYTES", 20 * 10**9)  # what a run's folders may hold
DISK_FLOOR_BYTES = env.int("STUDIO_DISK_FLOOR_BYTES", 2 * 10**9)  # with less free, new runs wait
LOG_BYTES = env.int("STUDIO_LOG_BYTES", 2 * 10**9)  # of a longer log, head and tail are kept
RUN_PROCESSES = env.int("STUDIO_RUN_PROCESSES", 512)  # of one node of a run at once
RUN_USERS_FROM = env.int("STUDIO_RUN_USERS_FROM", 1_900_000_000)  # 200 million numbers of users, for runs and builds
GRACE_SECONDS = env.float("STUDIO_GRACE_SECONDS", 10.0)  # between TERM and KILL
ENVIRONMENT_UNUSED_DAYS = env.float("STUDIO_ENVIRONMENT_UNUSED_DAYS", 14.0)  # then it is evicted
SNAPSHOT_MAX_BYTES = 300 * 1024 * 1024  # Source: Azure ML limits, snapshots
SNAPSHOT_MAX_FILES = 2000
PUBLIC_URL = env.str("STUDIO_URL", last_url(DATA_DIR))

# Core
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "")
if not SECRET_KEY and (DATA_DIR / "secret_key").is_file():
    SECRET_KEY = (DATA_DIR / "secret_key").read_text().strip()  # made by `manage.py up`, mode 0600
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", [])
_address = urlsplit(PUBLIC_URL)
_own_names = ["127.0.0.1", "localhost", "[::1]"]
if _address.hostname and _address.hostname not in {*_own_names, "::1"}:
    _own_names.append(f"[{_address.hostname}]" if ":" in _address.hostname else _address.hostname)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", _own_names)
CSRF_TRUSTED_ORIGINS: list[str] = env.list(
    "CSRF_TRUSTED_ORIGINS", [f"https://{_address.netloc}"] if _address.scheme == "https" else []
)
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "channels",
    "csp",
    "django_htmx",
    "lucide",
    "studio",
    "studio.people",
    "studio.signin",
    "studio.notifications",
    "compute",
    "compute.quotas",
    "compute.prices",
    "compute.usage",
    "runs",
    "studio.api",
    "studio.dashboards",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "studio.api.middleware.WithoutCookies",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "studio.people.middleware.FromWhere",
    "studio.people.middleware.LanguageOfPerson",
    "studio.people.middleware.WhereSignedIn",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "studio.people.second_step.SecondStepFirst",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "studio.middleware.StudioErrors",
    "studio.people.middleware.WorkspaceInUrl",
]
ROOT_URLCONF = "studio.urls"
ASGI_APPLICATION = "studio.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "studio.shell.frame",
            ],
        },
    },
]

# Data. One shape for one machine, one for a team; the environment alone decides.
DATABASES = {"default": dj_database_url.parse(env.str("DATABASE_URL", f"sqlite:///{DATA_DIR / 'db.sqlite3'}"))}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["ENGINE"] = "studio.sqlite3"
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",  # DEFERRED loses a third of concurrent writes to "database is locked"
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8000;",
    }
else:
    DATABASES["default"]["OPTIONS"] = {
        **DATABASES["default"].get("OPTIONS", {}),
        "pool": {"min_size": 1, "max_size": env.int("DATABASE_POOL", 10), "timeout": 10},  # of each process
    }
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # a restart of the server costs nobody an error
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", own_queue_url(DATA_DIR))


def redis_url(database: int, *, celery: bool = False) -> str:
    """Return REDIS_URL for one of its databases, in the dialect of redis-py or of Celery."""
    if REDIS_URL.startswith("unix://"):
        place = REDIS_URL.removeprefix("unix://")
        return f"redis+socket://{place}?virtual_host={database}" if celery else f"unix://{place}?db={database}"
    parts = urlsplit(REDIS_URL)  # whatever database it names, the studio uses 0, 1 and 2
    query = parts.query or ("ssl_cert_reqs=required" if celery and parts.scheme == "rediss" else "")
    return urlunsplit(parts._replace(path=f"/{database}", query=query))


CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",  # drops nothing and survives a restart of Redis
        "CONFIG": {"hosts": [redis_url(1)]},
    },
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url(2)}}
CELERY = {
    "broker_url": redis_url(0, celery=True),
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_transport_options": {
        "visibility_timeout": 60,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    },
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_ignore_result": True,
    "task_queues": {"celery": {}, f"host.{HOST_NAME}": {}},  # a worker takes what is for any machine, and for its own
    "worker_prefetch_multiplier": 1,
    "worker_soft_shutdown_timeout": 2,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "beat_schedule": {
        "tick": {"task": "studio.tick", "schedule": 10.0, "options": {"expires": 10}},
        "link-activity": {"task": "studio.link_activity", "schedule": 30.0, "options": {"expires": 30}},
        "reconcile": {"task": "compute.tasks.reconcile", "schedule": 5.0, "options": {"expires": 5}},
        "reconcile-runs": {"task": "runs.tasks.reconcile", "schedule": 5.0, "options": {"expires": 5}},
        "refresh-targets": {"task": "compute.tasks.refresh_targets", "schedule": 30.0, "options": {"expires": 30}},
        "ledger": {"task": "compute.quotas.tasks.check_ledger", "schedule": 3600.0, "options": {"expires": 3600}},
        "budgets": {"task": "compute.quotas.tasks.watch_budgets", "schedule": 60.0, "options": {"expires": 60}},
        "usage": {"task": "compute.usage.tasks.take_up", "schedule": 600.0, "options": {"expires": 600}},
        "evict": {"task": "compute.tasks.evict_environments", "schedule": 3600.0},
        "deliver": {"task": "studio.notifications.tasks.deliver", "schedule": 5.0, "options": {"expires": 5}},
        "prune-notices": {"task": "studio.notifications.tasks.prune", "schedule": 3600.0},
        "tell-of-tokens": {"task": "studio.notifications.tasks.tell_of_tokens", "schedule": 3600.0},
        "examinations": {"task": "compute.examining.sweep", "schedule": 30.0, "options": {"expires": 30}},
        "samples": {"task": "studio.dashboards.tasks.take_samples", "schedule": 60.0, "options": {"expires": 60}},
        "thin-samples": {"task": "studio.dashboards.tasks.thin_samples", "schedule": 3600.0},
    },
    "beat_scheduler": "studio.clock:Clock",
    "beat_schedule_filename": str(DATA_DIR / "beat"),
    "timezone": "UTC",
}

# People
AUTH_USER_MODEL = "people.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_REDIRECT_URL = "start"
LOGIN_URL = "account_login"
ACCOUNT_ADAPTER = "studio.signin.adapter.StudioAccounts"
SOCIALACCOUNT_ADAPTER = "studio.signin.adapter.StudioProviders"
SOCIALACCOUNT_STORE_TOKENS = False
MFA_ADAPTER = "studio.signin.adapter.StudioSecondStep"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "Compute Studio"
MFA_TOTP_TOLERANCE = 1  # half a minute more, for clocks that differ
MFA_ALLOW_UNVERIFIED_EMAIL = True  # nobody's address is verified here
MFA_RATE_LIMITS = {"webauthn_login": "30/m/ip"}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "20/5m/ip,5/5m/key",  # of one address; of one account
    "open_link": "30/m/ip",  # invitations and sign-in links
    "api_token": "30/m/ip",  # tokens that do not work
    "open_dashboard": "60/5m/ip",  # by links that open nothing
    "provider": "30/m/ip",  # sign-ins that are begun elsewhere
    "reset_password": "10/10m/ip,3/10m/key",
    "reset_password_from_key": "20/m/ip",
    "change_password": "5/m/user",
    "reauthenticate": "10/m/user",
    "manage_email": "10/m/user",
}
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("STUDIO_PROXIES", 0)  # in front; the client's address is what the first one says

# E-mail: by the server that EMAIL_HOST names; without one none is sent
EMAIL_HOST = env.str("EMAIL_HOST", "")
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_USER", ""), env.str("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS, EMAIL_USE_SSL = env.bool("EMAIL_USE_TLS", False), env.bool("EMAIL_USE_SSL", False)  # STARTTLS, or TLS
EMAIL_PORT = env.int("EMAIL_PORT", 465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
EMAIL_TIMEOUT = 15  # seconds
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
DEFAULT_FROM_EMAIL = env.str("STUDIO_MAIL_FROM", f"Compute Studio <studio@{_address.hostname or 'localhost'}>")
SESSION_ENGINE = "django.contrib.sessions.backends.db"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# Language and time
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español")]
LOCALE_PATHS = [BASE_DIR / "studio" / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"

# Static files: hashed names, also in module imports; no build step
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "studio.dashboards.charts.LibraryFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "studio.static.HashedStatic"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
DATA_UPLOAD_MAX_NUMBER_FILES = SNAPSHOT_MAX_FILES + 500  # the ignore file may leave some out
FILE_UPLOAD_TEMP_DIR = env.str("STUDIO_UPLOADS", None)

# Safety
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    },
}
SECURE_BEHIND_TLS = _address.scheme == "https"  # a proxy ends TLS and says so in X-Forwarded-Proto
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_BEHIND_TLS else None
SECURE_SSL_REDIRECT = SECURE_BEHIND_TLS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]  # asked by whoever watches the process, from beside it
SECURE_HSTS_SECONDS = env.int("STUDIO_HSTS_SECONDS", 3600 if SECURE_BEHIND_TLS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("STUDIO_HSTS_SUBDOMAINS", False)
# One name among others cannot decide for its whole domain: whether subdomains follow, and whether browsers ship it.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SEAL_KEYS: list[str] = env.list("SEAL_KEYS", [])  # newest first; without one, no credential is taken
if not SEAL_KEYS and (DATA_DIR / "seal_keys").is_file():
    SEAL_KEYS = (DATA_DIR / "seal_keys").read_text().replace(",", "\n").split()  # made by `manage.py up`, mode 0600

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "studio.logs.Line", "format": "{asctime} {levelname} {name}: {message}", "style": "{"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {name: {"level": "WARNING"} for name in ("azure", "celery", "httpx", "kombu")}
    # It writes like the rest, however it was started; at DEBUG it would write down the headers of sockets.
    | {"uvicorn": {"level": "INFO", "propagate": True}},
}
