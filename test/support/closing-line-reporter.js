/** Ends a run with `N passed, N failed`, alone on the last line, for readers of the end of a log. */
export default class ClosingLineReporter {
  onRunComplete(_testContexts, results) {
    // A file that does not load has no failed test to show for it, and must not look like success.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests;
    // At exit, because Jest still prints its summary, the coverage table, and the output of the global tear-down.
    process.once('exit', () => {
      console.log(`${results.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
    });
  }
}
