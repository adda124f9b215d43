import { type DynamicModule, Module } from '@nestjs/common';
import { Database } from './database.js';

/** Gives the one `Database` to everybody. It is made, checked and stopped by main, which knows the order. */
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
