"""TLS towards the upstream, with real certificates over real sockets."""

import ssl
from pathlib import Path

import pytest

from metaproxy.assembly.tls import client_context
from metaproxy.config.model.upstream import ClientTls
from metaproxy.forward.errors import TLSFailed, TruncatedResponse
from tests.unit.forward.certificates import Authority, Issued
from tests.unit.forward.conftest import MakeTransport
from tests.unit.forward.scripted import OK, Peer, Script, answers, read, request, upstream


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def compute_certificate(authority: Authority) -> Issued:
    return authority.issue("compute")


def client_tls(**section: object) -> ssl.SSLContext:
    return client_context(ClientTls.model_validate(section), "upstream")


def server_tls(issued: Issued, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_certificate_of_a_trusted_authority(
    make_transport: MakeTransport, authority: Authority, compute_certificate: Issued
) -> None:
    transport = make_transport(ssl_context=client_tls(ca=authority.ca))
    async with upstream(answers(OK), ssl=server_tls(compute_certificate)) as compute:
        for _ in range(2):
            assert await read(await transport.handle_async_request(request(compute.url))) == b"ok"

        assert len(compute.peers) == 1


async def test_a_certificate_that_the_system_does_not_trust(
    make_transport: MakeTransport, compute_certificate: Issued
) -> None:
    async with upstream(answers(OK), ssl=server_tls(compute_certificate)) as compute:
        with pytest.raises(TLSFailed):
            await make_transport().handle_async_request(request(compute.url))


async def test_a_certificate_for_another_name(make_transport: MakeTransport, authority: Authority) -> None:
    elsewhere = authority.issue("elsewhere", "DNS:elsewhere.example")
    transport = make_transport(ssl_context=client_tls(ca=authority.ca))
    async with upstream(answers(OK), ssl=server_tls(elsewhere)) as compute:
        with pytest.raises(TLSFailed):
            await transport.handle_async_request(request(compute.url))


async def test_any_certificate_where_verification_is_off(
    make_transport: MakeTransport, compute_certificate: Issued
) -> None:
    transport = make_transport(ssl_context=client_tls(verify=False))
    async with upstream(answers(OK), ssl=server_tls(compute_certificate)) as compute:
        assert await read(await transport.handle_async_request(request(compute.url))) == b"ok"


async def test_our_own_certificate_is_shown(
    make_transport: MakeTransport, authority: Authority, compute_certificate: Issued
) -> None:
    ours = authority.issue("metaproxy")
    tls = client_tls(ca=authority.ca, certificate=ours.certificate, key=ours.key)
    transport = make_transport(ssl_context=tls)
    async with upstream(answers(OK), ssl=server_tls(compute_certificate, authority.ca)) as compute:
        assert await read(await transport.handle_async_request(request(compute.url))) == b"ok"


async def test_an_upstream_that_speaks_no_tls(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await peer.closed()

    async with upstream(script) as compute:
        with pytest.raises(TLSFailed):
            await make_transport().handle_async_request(request(compute.url.copy_with(scheme="https")))


def ends(response: bytes, *, alert: bool) -> Script:
    """A script that sends a response, and ends the connection with a closure alert or without."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(response)
        if not alert:
            peer.writer.transport.abort()

    return script


UNTIL_THE_END = b"HTTP/1.1 200 OK\r\n\r\nok"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "alert"),
    [(UNTIL_THE_END, True), (OK, True), (OK, False), (CHUNKS, False)],
    ids=["alert", "length, alert", "length", "chunks"],
)
async def test_a_response_that_ends_by_itself_or_with_the_alert_is_whole(
    response: bytes,
    alert: bool,
    make_transport: MakeTransport,
    authority: Authority,
    compute_certificate: Issued,
) -> None:
    transport = make_transport(ssl_context=client_tls(ca=authority.ca))
    async with upstream(ends(response, alert=alert), ssl=server_tls(compute_certificate)) as compute:
        assert await read(await transport.handle_async_request(request(compute.url))) == b"ok"


async def test_a_response_that_ends_with_a_connection_that_was_cut_is_not_whole(
    make_transport: MakeTransport, authority: Authority, compute_certificate: Issued
) -> None:
    transport = make_transport(ssl_context=client_tls(ca=authority.ca))
    async with upstream(ends(UNTIL_THE_END, alert=False), ssl=server_tls(compute_certificate)) as compute:
        response = await transport.handle_async_request(request(compute.url))
        with pytest.raises(TruncatedResponse):
            await read(response)
