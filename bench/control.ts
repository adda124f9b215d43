import { connect } from 'node:net';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/**
 * Calls a command of host-module.mjs in the service.
 * @throws with the reason of the command when it fails
 */
export async function callControl<Result>(
  { control }: { readonly control: string },
  call: string,
  args: object = {},
): Promise<Result> {
  const socket = connect(control);
  try {
    await once(socket, 'connect');
    socket.write(`${JSON.stringify({ call, args })}\n`);
    const [line] = (await once(createInterface({ input: socket }), 'line')) as [string];
    const { result, error } = JSON.parse(line) as { readonly result: Result; readonly error?: string };
    if (error !== undefined) throw new Error(error);
    return result;
  } finally {
    socket.destroy();
  }
}
