# SPDX-License-Identifier: Apache-2.0
"""unittest's main with one line a test, and how long it took."""

import sys
import time
import unittest


class Result(unittest.TextTestResult):
    def startTest(self, test):
        self.started, self.before = time.monotonic(), len(self.failures) + len(self.errors)
        super().startTest(test)

    def stopTest(self, test):
        failed = len(self.failures) + len(self.errors) > self.before
        print(f"      {'FAILED' if failed else 'ok'} {time.monotonic() - self.started:5.1f} s  {test._testMethodName}", flush=True)
        super().stopTest(test)


def main():
    """The last line is `N passed, N failed`; what could not be set up counts as one that failed."""
    program = unittest.main("__main__", exit=False, testRunner=unittest.TextTestRunner(
        stream=sys.stdout, resultclass=Result, verbosity=0))
    failed = len(program.result.failures) + len(program.result.errors)
    print(f"{max(program.result.testsRun - failed, 0)} passed, {failed} failed")
    sys.exit(1 if failed else 0)
