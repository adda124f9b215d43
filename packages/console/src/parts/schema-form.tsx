import { Text } from './text.js';

interface Schema {
  readonly type?: string | readonly string[];
  readonly title?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
}

/** What the reader typed: by member of the schema, or JSON as it stands. */
export interface Entry {
  readonly members?: Readonly<Record<string, string>>;
  readonly json?: string;
}

interface Given {
  readonly label: string;
  /** A JSON Schema. What it says beyond these words is judged by the service. */
  readonly schema: object | undefined;
  readonly entry: Entry;
  onChange(entry: Entry): void;
}

/** Fields from the schema of an object, or JSON where there is none. */
export function SchemaForm({ label, schema, entry, onChange }: Given) {
  const { properties, required = [] } = (schema ?? {}) as Schema;
  if (!properties)
    return (
      <label className="block">
        <span className="text-xs text-soft">{label}, as JSON</span>
        <textarea
          className="field min-h-24 font-mono text-xs"
          spellCheck={false}
          placeholder="{}"
          value={entry.json ?? ''}
          onChange={({ target }) => onChange({ json: target.value })}
        />
      </label>
    );
  return (
    <fieldset className="grid gap-3 sm:grid-cols-2">
      <legend className="sr-only">{label}</legend>
      {Object.entries(properties).map(([name, member]) => (
        <Field
          key={name}
          name={name}
          schema={member}
          isRequired={required.includes(name)}
          value={entry.members?.[name] ?? ''}
          onChange={(value) => onChange({ members: { ...entry.members, [name]: value } })}
        />
      ))}
    </fieldset>
  );
}

interface FieldGiven {
  readonly name: string;
  readonly schema: Schema;
  readonly isRequired: boolean;
  readonly value: string;
  onChange(value: string): void;
}

function Field({ name, schema, isRequired, value, onChange }: FieldGiven) {
  const kind = kindOf(schema);
  const hint = schema.default === undefined ? undefined : JSON.stringify(schema.default);
  const options = kind === 'boolean' ? [true, false] : schema.enum;
  return (
    <label className="block">
      <span className="text-xs text-soft">
        <Text short={80}>{schema.title ?? name}</Text>
        {isRequired && ' (required)'}
      </span>
      {options ? (
        <select className="field" required={isRequired} value={value} onChange={({ target }) => onChange(target.value)}>
          <option value="">{hint === undefined ? 'none' : `none: ${hint}`}</option>
          {options.map((one) => (
            <option key={JSON.stringify(one)} value={JSON.stringify(one)}>
              {typeof one === 'string' ? one : JSON.stringify(one)}
            </option>
          ))}
        </select>
      ) : (
        <input
          className="field"
          type={kind === 'number' || kind === 'integer' ? 'number' : 'text'}
          step={kind === 'integer' ? 1 : 'any'}
          min={schema.minimum}
          max={schema.maximum}
          required={isRequired}
          placeholder={hint ?? (kind === 'json' ? 'JSON' : undefined)}
          value={value}
          onChange={({ target }) => onChange(target.value)}
        />
      )}
      {schema.description && (
        <span className="text-xs text-soft">
          <Text short={200}>{schema.description}</Text>
        </span>
      )}
    </label>
  );
}

function kindOf({ type, enum: values }: Schema): 'string' | 'number' | 'integer' | 'boolean' | 'enum' | 'json' {
  if (values) return 'enum';
  if (type === 'string' || type === 'number' || type === 'integer' || type === 'boolean') return type;
  return 'json';
}

/** The JSON of an entry. Empty fields are absent members. @throws SyntaxError */
export function valueOf(schema: object | undefined, entry: Entry): unknown {
  const { properties } = (schema ?? {}) as Schema;
  if (!properties) return entry.json?.trim() ? JSON.parse(entry.json) : {};
  const members = Object.entries(entry.members ?? {}).filter(([, text]) => text !== '');
  return Object.fromEntries(
    members.map(([name, text]) => [name, kindOf(properties[name] ?? {}) === 'string' ? text : JSON.parse(text)]),
  );
}
