import { type DynamicModule, Module } from '@nestjs/common';
import { ConsoleController } from './console.controller.js';
import { HomeController } from './home.controller.js';

/** The web console, for people. `packages/console` has its pages. */
@Module({})
export class ConsoleModule {
  /** `isHome`: whether `/` leads to it. */
  static register(isHome: boolean): DynamicModule {
    return { module: ConsoleModule, controllers: [ConsoleController, ...(isHome ? [HomeController] : [])] };
  }
}
