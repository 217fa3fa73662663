"""``container.cfg.xml``: what the process is as a server, and how it names itself in Via."""

import re
from pathlib import Path

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.settings.units import format_duration, format_size

FILE = "container.cfg.xml"
GUARD = "container"

NO_COUNTERPART = {
    "deployment-directory": "there are no archives to unpack",
    "artifact-directory": "there are no archives to unpack",
    "logging-configuration": "see the section logging; logs go to standard output",
    "jmx-reset-time": "there is no JMX; metrics are at /metrics of the admin listener",
    "client-request-logging": "the access log is logging.access",
    "cluster-config": "a configuration is for one cluster",
}

RESTRICTIONS = ("included-protocols", "excluded-protocols", "included-ciphers", "excluded-ciphers")
STORES = (
    "keystore-filename",
    "keystore-password",
    "key-password",
    "truststore-filename",
    "truststore-password",
)


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write server, via and what belongs to them."""
    for deployment in root.one("deployment-config"):
        _via(deployment, draft)
        _times(deployment, draft)
        _body(deployment, draft)
        _ports(deployment, draft)
        for tls in deployment.one("ssl-configuration"):
            _tls(tls, draft)
        for tag, why in NO_COUNTERPART.items():
            for element in deployment.all(tag):
                draft.left_out(element.tell(), why)
            if deployment.attribute(tag):
                draft.left_out(f"{deployment.place} @{tag}", why)


def _tls(tls: Element, draft: Draft) -> None:
    needs_certificate = tls.flag("need-client-auth")
    restricted = [element.tell() for element in tls.all(*RESTRICTIONS)]
    if needs_certificate or tls.first("truststore-filename") is not None:
        draft.not_converted(
            f"{GUARD}/need-client-auth",
            f"{tls.place} @need-client-auth",
            "let in clients with a certificate of its truststore alone: set server.tls.client_ca",
        )
    if restricted:
        draft.not_converted(
            f"{GUARD}/ciphers",
            restricted[0],
            "refused other protocols or ciphers; here OpenSSL's own choice counts: TLS 1.2 and 1.3",
        )
    for tag in STORES:
        for element in tls.one(tag):
            element.tell()
    for element in tls.one("tls-renegotiation-allowed"):
        draft.left_out(element.tell(), "OpenSSL lets no client renegotiate")
    draft.to_do(tls.place, "export the Java keystore to PEM, and name the files in server.tls")


def _via(deployment: Element, draft: Draft) -> None:
    name, source = deployment.attribute("via"), f"{deployment.place} @via"
    for via in deployment.one("via-header"):
        name, source = via.attribute("response-prefix") or name, via.place
        draft.set("via.version", via.flag("repose-version", default=True), f"{via.place} @repose-version")
        if (request := via.attribute("request-prefix")) and request != name:
            draft.differs(f"{via.place} @request-prefix", "requests and answers carry the same pseudonym")
    if not name:
        return
    token = re.sub(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]+", "-", name).strip("-") or "metaproxy"
    draft.set("via.pseudonym", token, source)
    if token != name:
        draft.differs(source, f"a pseudonym is one token (RFC 9110): {token!r} in place of {name!r}")


def _times(deployment: Element, draft: Draft) -> None:
    for name, key in (
        ("connection-timeout", "upstream.timeouts.connect"),
        ("read-timeout", "upstream.timeouts.read"),
        ("idle-timeout", "server.idle_timeout"),
        ("idleTimeout", "server.idle_timeout"),
    ):
        milliseconds(deployment, name, key, draft)


def milliseconds(element: Element, name: str, key: str, draft: Draft) -> None:
    """Write the attribute ``name`` (milliseconds) as the duration ``key``."""
    text = element.token(name)
    if not text:
        return
    if text.isdecimal() and int(text):
        draft.set(key, format_duration(int(text) / 1000), f"{element.place} @{name}")
    else:
        draft.left_out(f"{element.place} @{name}", f"{text!r} would wait for ever: {key} keeps its default")


def _body(deployment: Element, draft: Draft) -> None:
    text = deployment.token("content-body-read-limit")
    if text and not (text.isdecimal() and int(text)):
        deployment.refuse("content-body-read-limit")
    if text.isdecimal() and int(text):
        place = f"{deployment.place} @content-body-read-limit"
        draft.set("limits.absolute.request_body", format_size(int(text)), place)


def _ports(deployment: Element, draft: Draft) -> None:
    for name in ("http-port", "https-port"):
        port = deployment.token(name)
        if port and "listen" not in draft.data.get("server", {}):
            draft.set("server.listen", f"0.0.0.0:{port}", f"{deployment.place} @{name}")
