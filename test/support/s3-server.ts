import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { buildApp } from 'fauxqs';

export interface S3Server {
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** Its requests, as `METHOD /path?query`, oldest first. */
  readonly requests: readonly string[];
  /** The keys of the objects in the bucket, sorted. */
  keys(): Promise<string[]>;
  /** Cuts all connections, also in the middle of an object. */
  cut(): void;
  stop(): Promise<void>;
}

/** The usual AWS variables for it; it takes any credentials. */
export const S3_CREDENTIALS = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };

/** A server that speaks S3, in this process, with an empty bucket. Its objects are in memory. */
export async function startS3Server(): Promise<S3Server> {
  const [bucket, region] = ['attachments', 'us-east-1'];
  const requests: string[] = [];
  const app = buildApp({ logger: false });
  app.addHook('onRequest', async ({ method, url }) => {
    requests.push(`${method} ${url}`);
  });
  const endpoint = await app.listen({ port: 0, host: '127.0.0.1' });
  const client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    endpoint,
    bucket,
    region,
    requests,
    async keys() {
      const { Contents: objects = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
      return objects.map(({ Key: key = '' }) => key).sort();
    },
    cut() {
      app.server.closeAllConnections();
    },
    async stop() {
      client.destroy();
      await app.close();
    },
  };
}
