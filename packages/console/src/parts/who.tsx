import { useMe } from '../service/me.js';
import { Text } from './text.js';

/** Who one is, and what one may do. */
export function Who() {
  const me = useMe();
  if (!me) return null;
  const { may } = me;
  const does = [may.write && 'write', may.readAll && 'read all', may.operate && 'operate'].filter(Boolean);
  return (
    <div title={me.scopes.join(' ')}>
      <p className="font-medium text-ink">{me.isNamed ? <Text short={40}>{me.subject}</Text> : 'No login'}</p>
      {me.tenantId && (
        <p>
          <Text short={40}>{me.tenantId}</Text>
        </p>
      )}
      <p>{does.length === 0 ? 'may read' : `may ${does.join(', ')}`}</p>
    </div>
  );
}
