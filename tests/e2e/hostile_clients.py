"""What slow and greedy clients do, what they get, and what the upstream has of it: the published table."""

from typing import NamedTuple


class Behaviour(NamedTuple):
    """What a client does; ``test`` of test_slow_clients.py holds it."""

    does: str
    gets: str
    upstream: str
    test: str


BEHAVIOURS = [
    Behaviour("sends a head that never ends", "408, the end", "nothing",
              "test_a_head_that_never_ends_is_refused"),
    Behaviour("sends a head octet by octet", "408, the end", "nothing",
              "test_a_head_that_drips_is_refused"),
    Behaviour("sends a body that never ends", "408, the end", "a request that breaks off",
              "test_a_body_that_never_ends_is_refused_and_the_upstream_let_go"),
    Behaviour("sends a body octet by octet", "408, the end", "a request that breaks off",
              "test_a_body_that_drips_is_refused_and_the_upstream_let_go"),
    Behaviour("sends a body that is too large, and reads once it is sent", "413, the end", "nothing",
              "test_an_upload_that_is_too_large_is_told_so_though_all_of_it_is_sent_first"),
    Behaviour("sends a body whose length is not told and that gets too large", "413, the end",
              "a request that breaks off",
              "test_an_upload_that_gets_too_large_is_told_so_though_all_of_it_is_sent_first"),
    Behaviour("sends what is no HTTP, and goes on", "400, the end", "nothing",
              "test_a_client_that_goes_on_sending_reads_why_it_is_refused"),
    Behaviour("sends what is no HTTP, without end", "400, then a reset", "nothing",
              "test_a_client_that_never_stops_sending_is_reset"),
    Behaviour("expects 100 (Continue) before a body that is too large", "413, no 100", "nothing",
              "test_a_body_that_is_too_large_is_not_asked_for"),
    Behaviour("expects 100 (Continue)", "100, then the answer", "the request, whole",
              "test_a_body_that_is_expected_is_asked_for"),
    Behaviour("pipelines 10 000 requests", "at most 18 answers in order; the last says `Connection: close`",
              "as many requests", "test_only_so_many_pipelined_requests_are_taken"),
    Behaviour("pipelines a request that is refused", "the answers before it, the refusal, the end",
              "the requests before it", "test_a_refused_request_waits_for_the_answers_before_it"),
    Behaviour("pipelines and leaves", "nothing", "the first request, which breaks off",
              "test_a_client_that_pipelines_and_leaves_lets_the_upstream_go"),
    Behaviour("sends nothing after an answer", "the end", "nothing",
              "test_an_idle_connection_is_closed"),
    Behaviour("sends nothing at all", "the end", "nothing",
              "test_a_connection_that_says_nothing_is_closed"),
    Behaviour("never reads an answer", "a reset", "an answer that it cannot send on",
              "test_a_client_that_never_reads_is_cut_off_and_the_upstream_let_go"),
    Behaviour("closes its half of the connection", "the end", "a request that breaks off",
              "test_a_client_that_closes_its_half_is_taken_to_have_gone"),
    Behaviour("connects once too often", "503 with `Retry-After`, the end", "nothing",
              "test_one_connection_of_an_address_too_many_is_refused"),
]  # fmt: skip


def table() -> str:
    """The behaviours as Markdown."""
    lines = ["| the client | gets | the upstream sees |", "|---|---|---|"]
    lines += [f"| {case.does} | {case.gets} | {case.upstream} |" for case in BEHAVIOURS]
    return "\n".join(lines)
