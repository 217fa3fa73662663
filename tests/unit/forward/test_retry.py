from metaproxy.forward.retry import RetryBudget


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def withdrawals(budget: RetryBudget) -> int:
    """How often the budget allows a repeat at this moment."""
    count = 0
    while budget.withdraw():
        count += 1
    return count


def test_a_share_of_the_requests_may_be_repeated() -> None:
    budget = RetryBudget(monotonic=Time(), share=0.25, per_second=0.0)

    for _ in range(40):
        budget.deposit()

    assert withdrawals(budget) == 10


def test_a_quiet_service_may_repeat_now_and_then() -> None:
    time = Time()
    budget = RetryBudget(monotonic=time, share=0.0, per_second=1.0)
    assert withdrawals(budget) == 1

    time.now = 3.0

    assert withdrawals(budget) == 3


def test_what_is_saved_up_is_limited() -> None:
    time = Time()
    budget = RetryBudget(monotonic=time, share=1.0, per_second=1.0, most=5.0)

    for _ in range(1000):
        budget.deposit()
    time.now = 1000.0

    assert withdrawals(budget) == 5
