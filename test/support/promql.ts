import { parser } from '@prometheus-io/lezer-promql';

/** The metrics and labels of an expression. */
export interface Selector {
  readonly metric: string;
  readonly labels: readonly { readonly name: string; readonly equals?: string }[];
}

export interface Expression {
  readonly selectors: readonly Selector[];
  /** The labels of `by`, `without` and `on`. */
  readonly groupedBy: readonly string[];
}

/** @throws on what is no PromQL. The variables of Grafana are understood. */
export function parsePromql(expression: string): Expression {
  const text = expression.replaceAll('$__rate_interval', '5m').replaceAll(/"\$\w+"/g, '".*"');
  const selectors: Selector[] = [];
  const groupedBy: string[] = [];
  parser.parse(text).iterate({
    enter(node) {
      const slice = (at: { from: number; to: number } | null) => (at === null ? '' : text.slice(at.from, at.to));
      if (node.type.isError) throw new Error(`not PromQL, at ${node.from}: ${expression}`);
      if (node.name === 'GroupingLabels') {
        groupedBy.push(...node.node.getChildren('LabelName').map(slice));
      }
      if (node.name !== 'VectorSelector') return;
      const matchers = node.node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? [];
      selectors.push({
        metric: slice(node.node.getChild('Identifier')),
        labels: matchers.map((matcher) => {
          const name = slice(matcher.getChild('LabelName'));
          const isEqual = slice(matcher.getChild('MatchOp')) === '=';
          return { name, ...(isEqual && { equals: slice(matcher.getChild('StringLiteral')).slice(1, -1) }) };
        }),
      });
    },
  });
  return { selectors, groupedBy };
}
