/** The first line of a thrown value. */
export function firstLineOf(error: unknown): string {
  try {
    const text = typeof error === 'string' ? error : error instanceof Error ? String(error.message) : '';
    return text.split('\n', 1)[0]?.slice(0, 1000) || 'unknown error';
  } catch {
    return 'unknown error';
  }
}
