"""Causes of a failure of the shared store, as one word for the event log."""

import re
import ssl

_WORDS = {
    "NOAUTH": "authentication",
    "WRONGPASS": "authentication",
    "NOPERM": "permission",
    "READONLY": "read_only",
    "OOM": "out_of_memory",
    "LOADING": "loading",
    "MISCONF": "cannot_persist",
    "MASTERDOWN": "no_master",
    "CLUSTERDOWN": "cluster_down",
    "CROSSSLOT": "cross_slot",
    "NOREPLICAS": "no_replicas",
    "MOVED": "cluster",
    "ASK": "cluster",
    "MovedError": "cluster",
    "AskError": "cluster",
    "ClusterCrossSlotError": "cross_slot",
    "ClusterDownError": "cluster_down",
    "MasterDownError": "no_master",
    "MasterNotFoundError": "no_master",
    "AuthenticationError": "authentication",
    "AuthenticationWrongNumberOfArgsError": "authentication",
    "AuthorizationError": "permission",
    "NoPermissionError": "permission",
    "ReadOnlyError": "read_only",
    "OutOfMemoryError": "out_of_memory",
    "BusyLoadingError": "loading",
    "TimeoutError": "timeout",
    "MaxConnectionsError": "too_many_connections",
    "SSLError": "tls",
    "gaierror": "unresolved",
    "ConnectionRefusedError": "refused",
    "FileNotFoundError": "refused",
    "ResponseError": "refused_command",
    "ConnectionError": "connection",
}
"""First words of Redis's error replies, and names of exceptions, those of redis-py among them."""

_INSIDE = re.compile(r"""(?:: -|caused error: (?:\(['"])?)([A-Z]+) """)
"""The first word of the error of a command, inside that of a script (Redis 6) or a pipeline (redis-py)."""

_NO_PERMISSION = "The user executing the script can't"
"""The error of a command in a script that the user may not run. In Redis 6 it has no word."""

_ARGUMENTS = re.compile(r"""\((?P<quote>['"])(?P<said>.*)(?P=quote),\)""", re.DOTALL)
"""An error inside a pipeline's, as redis-py writes it: the tuple of its arguments."""

_VAGUE = ("ConnectionError", "ResponseError")

DETAIL_CHARACTERS = 200


def cause_of(error: BaseException) -> tuple[str, str]:
    """Return the word for ``error``, and what it says itself."""
    # Redis repeats the arguments of a command that it does not know: names of consumers, for one.
    # redis-py repeats the command before the error of a pipeline: a payload, for one.
    said = str(error).partition(", with args beginning with")[0]
    detail = said.rpartition("of pipeline caused error: ")[2]
    if quoted := _ARGUMENTS.fullmatch(detail):
        detail = quoted["said"]
    detail = detail[:DETAIL_CHARACTERS]
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return "tls", detail
    words = [word for each in chain for word in _names(each) if word in _WORDS]
    # A reply or a system call says more than that the connection or a command failed.
    best = next((word for word in words if word not in _VAGUE), words[0] if words else "")
    return _WORDS.get(best, "other"), detail


def _names(error: BaseException) -> list[str]:
    text = str(error)
    permission = ["NOPERM"] if _NO_PERMISSION in text else []
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return [text.partition(" ")[0], *_INSIDE.findall(text), *permission, *kinds]
