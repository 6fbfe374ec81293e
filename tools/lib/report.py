"""One line a check, and the count at the end. Import only: it has no command line."""


class Report:
    """Collects checks; `failed` decides the exit status."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, holds: bool, subject: str, what: str) -> bool:
        """Prints and counts one check."""
        self.passed, self.failed = self.passed + bool(holds), self.failed + (not holds)
        print(f"{'ok    ' if holds else 'FAILED'} {subject}: {what}", flush=True)
        return bool(holds)

    def close(self) -> int:
        """Prints the count; returns the exit status."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0
