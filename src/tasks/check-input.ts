import { Injectable } from '@nestjs/common';
import { type FieldError, RequestValidationError, under } from '../errors.js';
import type { JsonText } from '../json/json-text.js';
import { treeOf } from '../json/json-tree.js';
import { HandlerPolicies } from './ports/handler-policies.js';
import { TaskPolicies } from './task-policies.js';

interface GivenInput {
  readonly taskType: string;
  readonly input?: JsonText;
}

/** Whether an input is as the schema of its type, and the handler, say. The policies are loaded. */
@Injectable()
export class CheckInput {
  constructor(
    private readonly policies: TaskPolicies,
    private readonly handlers: HandlerPolicies,
  ) {}

  async errorsIn({ taskType, input }: GivenInput): Promise<readonly FieldError[]> {
    const schema = this.policies.schemaOf(taskType, 'inputSchema');
    if (!schema && !this.handlers.checksInput(taskType)) return [];
    const tree = input ? await treeOf(input) : {};
    const errors = schema?.errorsOf(tree) ?? [];
    return under('input', errors.length > 0 ? errors : await this.handlers.issuesIn(taskType, tree));
  }

  /** @throws RequestValidationError */
  async execute(given: GivenInput): Promise<void> {
    const errors = await this.errorsIn(given);
    if (errors.length > 0) throw new RequestValidationError(errors);
  }
}
