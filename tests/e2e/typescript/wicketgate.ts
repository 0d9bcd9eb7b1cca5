// The components by their types, as an SDK has them; written by hand, as far as this program needs them.
import * as pulumi from "@pulumi/pulumi";

export interface FederatedCredential {
  kind: string;
  issuer: string;
  subject?: string;
  audience: string;
}

class Remote extends pulumi.ComponentResource {
  declare public readonly clientId: pulumi.Output<string>;
  declare public readonly objectId: pulumi.Output<string>;

  constructor(kind: string, name: string, args: pulumi.Inputs, opts?: pulumi.ComponentResourceOptions) {
    super(`wicketgate:index:${kind}`, name, { ...args, clientId: undefined, objectId: undefined }, opts, true);
  }
}

export class GatewayIdentity extends Remote {
  constructor(
    name: string,
    args: { displayName: string; deployerObjectId: pulumi.Input<string>; readDirectory?: boolean },
  ) {
    super("GatewayIdentity", name, args);
  }
}

export class BotGroup extends Remote {
  constructor(name: string, args: { displayName: string; deployerObjectId: pulumi.Input<string> }) {
    super("BotGroup", name, args);
  }
}

export class Bot extends Remote {
  constructor(
    name: string,
    args: {
      displayName: string;
      owner: string;
      deployerObjectId: pulumi.Input<string>;
      gatewayObjectId: pulumi.Input<string>;
      groupNames?: string[];
      groupObjectIds?: pulumi.Input<string>[];
      credentials: FederatedCredential[];
    },
  ) {
    super("Bot", name, args);
  }
}
