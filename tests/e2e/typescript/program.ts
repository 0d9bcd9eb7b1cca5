// One bot in one group, by a TypeScript program; `node program.js up|preview|destroy` prints what the engine did as JSON.
import * as pulumi from "@pulumi/pulumi";
import * as auto from "@pulumi/pulumi/automation";
import { Bot, BotGroup, GatewayIdentity } from "./wicketgate";

async function program(): Promise<Record<string, pulumi.Output<string>>> {
  const deployerObjectId = process.env.DEPLOYER_OBJECT_ID!;
  const gateway = new GatewayIdentity("gateway", { displayName: "ts-gate", deployerObjectId, readDirectory: false });
  const readers = new BotGroup("readers", { displayName: "ts-readers", deployerObjectId });
  const bot = new Bot("typist", {
    displayName: "ts-bot",
    owner: "group:platform",
    deployerObjectId,
    gatewayObjectId: gateway.objectId,
    groupNames: ["readers"],
    groupObjectIds: [readers.objectId],
    credentials: [
      {
        kind: "github",
        issuer: "https://token.actions.githubusercontent.com",
        subject: "repo:acme/app:ref:refs/heads/main",
        audience: "api://AzureADTokenExchange",
      },
    ],
  });
  return { bot: bot.clientId, audience: gateway.clientId };
}

async function main(): Promise<void> {
  const stack = await auto.LocalWorkspace.createOrSelectStack(
    { stackName: "typescript", projectName: "typescript", program },
    { workDir: process.env.WORK_DIR! },
  );
  switch (process.argv[2]) {
    case "up": {
      const done = await stack.up();
      const outputs = Object.fromEntries(Object.entries(done.outputs).map(([name, output]) => [name, output.value]));
      console.log(JSON.stringify({ changes: done.summary.resourceChanges, outputs }));
      break;
    }
    case "preview":
      console.log(JSON.stringify({ changes: (await stack.preview()).changeSummary }));
      break;
    case "destroy":
      console.log(JSON.stringify({ changes: (await stack.destroy()).summary.resourceChanges }));
      break;
    default:
      throw new Error("say up, preview or destroy");
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
