"""The lines that the demo prints: requests to paste, each with what it shows."""

from typing import Final

from metaproxy.demo.world import ALICE, BOB, RED, RED_IMAGE

STEPS: Final = (
    ("A metadata item, through every stage", 'curl -i -H "X-Auth-Token: $ALICE" $ITEM'),
    ("Again: from memory, with Age and Cache-Status", 'curl -i -H "X-Auth-Token: $ALICE" $ITEM'),
    ("The compute API was asked for it once (GET / are health checks)", "curl -s {compute}/_demo/requests"),
    (
        "A write through the proxy …",
        'curl -i -X PUT -H "X-Auth-Token: $ALICE" -H "Content-Type: application/json"'
        """ -d '{{"meta": {{"label": "Changed"}}}}' $ITEM""",
    ),
    ("… is seen by the very next read", 'curl -i -H "X-Auth-Token: $ALICE" $ITEM'),
    ("Another tenant: 403", 'curl -i -H "X-Auth-Token: $BOB" $ITEM'),
    ("No token: 401", "curl -i $ITEM"),
    ("A method that the item does not have: 405", 'curl -i -X PATCH -H "X-Auth-Token: $ALICE" $ITEM'),
    (
        "Over the rate of five lists a minute: the last one is 413, with Retry-After",
        'for i in 1 2 3 4 5 6; do curl -i -H "X-Auth-Token: $ALICE" $API/images/detail; echo; done',
    ),
    ("Where a consumer stands", 'curl -i -H "X-Auth-Token: $ALICE" $API/limits'),
    ("For the operator", "curl -i {admin}/healthz; echo; curl -s {admin}/metrics"),
)


def session(*, proxy: str, admin: str, compute: str) -> str:
    """Return the session for the given base URLs."""
    lines = [
        f"metaproxy {proxy} · for the operator {admin} · the compute API behind it {compute}",
        "Paste these into another terminal; Ctrl-C here stops everything.",
        "",
        f"export ALICE={ALICE.token} BOB={BOB.token}",
        f"export API={proxy}/v2.1/{RED.id}",
        f"export ITEM=$API/images/{RED_IMAGE.id}/metadata/label",
    ]
    for title, command in STEPS:
        lines += ["", f"# {title}", command.format(admin=admin, compute=compute)]
    return "\n".join(lines)
