import type { Attachment } from '../../../../protocol/src/snapshots.js';
import { Text } from '../../parts/text.js';

const SIZE = new Intl.NumberFormat(undefined, {
  notation: 'compact',
  style: 'unit',
  unit: 'byte',
  unitDisplay: 'narrow',
});

/** Files are saved, never opened here: the service sends them as downloads. */
export function Files({ taskId, files }: { readonly taskId: string; readonly files: readonly Attachment[] }) {
  return (
    <ul className="space-y-1">
      {files.map(({ attachmentId, filename, contentType, sizeBytes, source }) => (
        <li key={attachmentId} className="flex flex-wrap items-baseline gap-x-3">
          <a
            className="link min-w-0"
            href={`/api/v1/tasks/${encodeURIComponent(taskId)}/attachments/${encodeURIComponent(attachmentId)}`}
            download
          >
            <Text short={160}>{filename}</Text>
          </a>
          <span className="text-xs text-soft">
            {SIZE.format(sizeBytes)} · <Text short={60}>{contentType}</Text>
            {source === 'worker' && ' · made by the task'}
          </span>
        </li>
      ))}
    </ul>
  );
}
