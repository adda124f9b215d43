import { type DynamicModule, Module } from '@nestjs/common';
import { Database } from './database.js';

/** Provides the one `Database`. `main` makes, checks and stops it, because `main` has the order. */
@Module({})
export class DatabaseModule {
  static register(database: Database): DynamicModule {
    return {
      module: DatabaseModule,
      global: true,
      providers: [{ provide: Database, useValue: database }],
      exports: [Database],
    };
  }
}
