// Routes of our own, beside those of the service.
import { Body, Controller, Get, HttpCode, Logger, Post } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { ArrayMaxSize, IsArray, IsInt, IsString, Max, MaxLength, Min, ValidateNested } from 'class-validator';
import { Counter } from 'prom-client';
import {
  type AuthContext,
  Caller,
  Elements,
  JsonObjectText,
  type JsonText,
  Log,
  Optional,
  Public,
  Requires,
  treeOf,
} from 'taskbridge';
import { Asked } from './asked.js';

/** On `/metrics`, beside those of the service. */
const quotes = new Counter({ name: 'acme_quotes_total', help: 'Quotes that were made' });

export class LineDto {
  @IsString()
  @MaxLength(64)
  @ApiProperty()
  sku!: string;

  @IsInt()
  @Min(1)
  @Max(1000)
  @ApiProperty()
  pieces!: number;
}

export class QuoteDto {
  @IsArray()
  @ArrayMaxSize(100)
  @ValidateNested({ each: true })
  @Elements(() => LineDto)
  @ApiProperty({ type: [LineDto] })
  lines!: LineDto[];

  /** Free-form: it may nest as it likes, and is kept as its text. */
  @Optional()
  @JsonObjectText({ required: false })
  wishes?: JsonText;
}

@Controller('acme')
export class AcmeController {
  private readonly logger = new Logger('Acme');

  constructor(
    private readonly asked: Asked,
    private readonly log: Log,
  ) {}

  @Get('hello')
  @Public()
  hello() {
    return { hello: 'world' };
  }

  /** Neither public nor with a scope: every caller with an API key. */
  @Get('me')
  me(@Caller() { subject, tenantId }: AuthContext) {
    return { subject, tenantId };
  }

  @Get('asked')
  @Requires('tasks:read')
  whatWasAsked() {
    return this.asked.calls;
  }

  @Post('quotes')
  @HttpCode(200)
  @Requires<'acme:quotes'>('acme:quotes')
  async quote(@Caller() { subject }: AuthContext, @Body() { lines, wishes }: QuoteDto) {
    const pieces = lines.reduce((sum, line) => sum + line.pieces, 0);
    quotes.inc();
    this.logger.log({ event: 'quote', lines: lines.length, first: lines[0] });
    this.log.info({ principal_id: subject, pieces }, 'acme.quote_made');
    return { pieces, wishes: wishes ? await treeOf(wishes) : null };
  }
}
