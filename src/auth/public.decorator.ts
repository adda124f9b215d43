import { SetMetadata } from '@nestjs/common';

export const PUBLIC = 'taskbridge:public';

/** A route that needs no principal. */
export const Public = () => SetMetadata(PUBLIC, true);
