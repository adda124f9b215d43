import { Module } from '@nestjs/common';
import { FollowTokensController } from './follow-tokens.controller.js';
import { MintFollowToken } from './mint-follow-token.js';
import { RevocationWatch } from './revocation-watch.js';
import { RevokeFollowTokens } from './revoke-follow-tokens.js';

/** Minting and revoking. `auth/` judges tokens. */
@Module({
  controllers: [FollowTokensController],
  providers: [MintFollowToken, RevokeFollowTokens, RevocationWatch],
})
export class FollowTokensModule {}
