/** What a program needs to create a task. */
export interface Request {
  readonly taskType: string;
  readonly input: object;
  readonly clientRequestId: string;
}

const shell = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
/** JSON that stays inside its quotes in every one of the languages: what is not ASCII is escaped. */
const json = (value: unknown, space?: number) =>
  JSON.stringify(value, null, space).replace(
    /[\u007f-\uffff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
const bodyOf = ({ taskType, input, clientRequestId }: Request) => ({ clientRequestId, taskType, input });

export const SNIPPETS = {
  curl: (url: string, request: Request) => `ID=$(curl -s ${url}/api/v1/tasks -H 'Content-Type: application/json' \\
  -d ${shell(json(bodyOf(request)))} |
  sed 's/.*"taskId":"\\([^"]*\\)".*/\\1/')
curl -N ${url}/api/v1/tasks/$ID/events/stream
`,
  TypeScript: (url: string, request: Request) => `import { createClient } from '@taskbridge/client';

const client = createClient({ url: ${json(url)} });
const task = client.create(${json(request.taskType)}, ${json(request.input, 2)}, { requestId: ${json(request.clientRequestId)} });
for await (const event of task.events()) console.log(event.eventId, event.type, event.payload);
client.close();
`,
  Python: (url: string, request: Request) => `import json, urllib.request

url = ${json(`${url}/api/v1/tasks`)}
body = json.loads(r"""${json(bodyOf(request))}""")
create = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
task = json.load(urllib.request.urlopen(create))
for line in urllib.request.urlopen(f"{url}/{task['taskId']}/events/stream"):
    if line.startswith(b"data:"):
        print(json.loads(line[5:]))
`,
} as const;

export type SnippetName = keyof typeof SNIPPETS;
