import { globSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { getMetadataStorage } from 'class-validator';
import { RequestValidationError } from '../../src/errors.js';
import { EdgeValidationPipe } from '../../src/http/validation.pipe.js';

type Dto = new () => object;

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url));
const modules = await Promise.all(
  globSync('**/*.dto.ts', { cwd: SOURCE }).map(
    (file) => import(`../../src/${file.replace(/\.ts$/, '.js')}`) as Promise<Readonly<Record<string, unknown>>>,
  ),
);
const dtos = modules
  .flatMap((module) => Object.values(module))
  .filter((one): one is Dto => typeof one === 'function' && membersOf(one as Dto).length > 0);

function membersOf(dto: Dto): readonly string[] {
  const found = getMetadataStorage().getTargetValidationMetadatas(dto, '', false, false);
  return [...new Set(found.map(({ propertyName }) => propertyName))];
}

const WRONG = [null, 5, -1, 1.5, true, '', '\n', 'x'.repeat(10_000), [], [null], [5], ['\n'], [[]], {}, { '\n': 1 }];

async function refusalOf(dto: Dto, body: object): Promise<readonly { path: string; message: string }[]> {
  try {
    await new EdgeValidationPipe().transform(body, { type: 'body', metatype: dto });
    return [];
  } catch (error) {
    if (error instanceof RequestValidationError) return error.details.errors;
    throw error;
  }
}

describe('A refusal of a body', () => {
  it.each(dtos.map((dto) => [dto.name, dto] as const))('has one plain sentence for each member: %s', async (_, dto) => {
    for (const name of membersOf(dto)) {
      for (const value of WRONG) {
        const errors = await refusalOf(dto, { [name]: value });
        const paths = errors.map(({ path }) => path);
        expect(paths).toEqual([...new Set(paths)]);
        for (const { message } of errors) {
          expect(message).toMatch(/^(each value )?(must|is|has|should) /);
          expect(message).not.toMatch(/value in|regular expression|\/\^|nested property|\$property|undefined/);
        }
      }
    }
  });

  it('speaks of the type first', async () => {
    const { CancelTaskDto } = await import('../../src/tasks/http/dto/cancel-task.dto.js');
    expect(await refusalOf(CancelTaskDto, { reason: 5 })).toEqual([{ path: 'reason', message: 'must be a string' }]);
  });
});
