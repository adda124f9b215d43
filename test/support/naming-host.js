// A host module that believes whatever name it is given, and keeps attachments nowhere.
import { AttachmentMissing, AttachmentStore, AuthContextResolver } from 'taskbridge';

const SCOPES = ['tasks:write', 'tasks:upload', 'tasks:read'];

export default {
  module: class NamingHost {},
  providers: [
    {
      provide: AuthContextResolver,
      useValue: {
        resolve: ({ headers }) => ({
          subject: decodeURIComponent(headers['x-test-subject'] ?? ''),
          scopes: new Set((headers['x-test-scopes'] ?? SCOPES.join(' ')).split(' ')),
          attributes: {},
        }),
      },
    },
    {
      provide: AttachmentStore,
      useValue: {
        put: (_id, bytes) => bytes.resume(),
        open: () => Promise.reject(new AttachmentMissing()),
        remove: () => undefined,
      },
    },
  ],
};
