"""Azure on loopback: services over TLS that speak as documented, for Azure's own client libraries to talk to."""

import json
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from compute.models import AzureSignIn
from studio.people.models import Workspace
from studio.seal import seal

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
SUBSCRIPTION = "33333333-3333-4333-8333-333333333333"
SECRET = "sp-secret-0123456789abcdef"
TOKEN_KEY = "a key of the tests that is long enough for its hash"


def signs_in(workspace: Workspace, entra: "Entra", **where: str) -> AzureSignIn:
    """Have a workspace sign in with the one application that `entra` knows. `where`: its other endpoints."""
    workspace.allowances = ["this-machine"]
    workspace.save()
    ids = {"subscription_id": SUBSCRIPTION, "tenant_id": TENANT, "client_id": CLIENT}
    row = AzureSignIn(workspace=workspace, authority=entra.url, **ids, **where)
    row.sealed = {"client_secret": seal(SECRET, where=row.place_of("client_secret"))}
    row.save()
    return row


Reply = tuple[int, dict[str, str], bytes]


def certificate(folder: Path) -> Path:
    """Make a certificate of 127.0.0.1 that signs itself; return its file, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file = folder / "azure.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return file


class Service:
    """One service: what it was asked, and what it is to answer instead. A kind of it says `answer`."""

    needs_token = True

    def __init__(self, pem: Path) -> None:
        self.asked: list[str] = []  # "POST /jobs"
        self.instead: list[Reply] = []  # status, headers, body; status 0: hang up
        handler = type("Bound", (Handler,), {"service": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pem)
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        raise NotImplementedError


class Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def respond(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.service.asked.append(f"{self.command} {parts.path}")
        if self.service.instead:
            status, headers, body = self.service.instead.pop(0)
            if status == 0:
                self.close_connection = True
                return
        elif self.service.needs_token and not self.headers.get("Authorization", "").startswith("Bearer ey"):
            status, headers, body = refused(401, "Unauthorized", "No token.")
        else:
            status, headers, body = self.service.answer(self.command, parts.path, query, self.headers, body)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Handler, f"do_{verb}", Handler.respond)


def told(what: Any, status: int = 200) -> Reply:
    return status, {}, json.dumps(what).encode()


def refused(status: int, code: str, message: str) -> Reply:
    """Return an error in Resource Manager's form."""
    return told({"error": {"code": code, "message": message}}, status)


class Entra(Service):
    """Where tokens come from, for one application with one secret."""

    needs_token = False

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        home = f"{self.url}/{TENANT}"
        if path.endswith("/.well-known/openid-configuration"):
            return told(
                {
                    "token_endpoint": f"{home}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{home}/oauth2/v2.0/authorize",
                    "issuer": f"{home}/v2.0",
                }
            )
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if path != f"/{TENANT}/oauth2/v2.0/token" or asked.get("grant_type") != "client_credentials":
            return told({"error": "invalid_request", "error_description": "AADSTS900144: no such tenant."}, 400)
        if (asked.get("client_id"), asked.get("client_secret")) != (CLIENT, SECRET):
            words = "AADSTS7000215: Invalid client secret provided. Trace ID: 0000 Correlation ID: 1111"
            return told({"error": "invalid_client", "error_description": words}, 401)
        claims = {"tid": TENANT, "appid": CLIENT, "aud": asked["scope"], "exp": int(time.time()) + 3600}
        token = jwt.encode(claims, TOKEN_KEY, algorithm="HS256")
        return told({"token_type": "Bearer", "expires_in": 3600, "access_token": token})


class ResourceManager(Service):
    """What there is in the subscription, by path, and what the identity may do."""

    def __init__(self, pem: Path) -> None:
        super().__init__(pem)
        self.there: dict[str, Any] = {}  # path → what is said of it
        self.actions = ["Microsoft.Batch/*", "*/read"]

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        if "api-version" not in query:
            return refused(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        if path.endswith("/providers/Microsoft.Authorization/permissions"):
            return told({"value": [{"actions": self.actions, "notActions": []}]})
        if path in self.there:
            return told(self.there[path])
        return refused(404, "ResourceNotFound", f"The Resource '{path.rpartition('/')[2]}' was not found.")
