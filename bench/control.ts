import { connect } from 'node:net';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** Calls a command of host-module.mjs in the service. */
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
    return JSON.parse(line) as Result;
  } finally {
    socket.destroy();
  }
}
