// Anthropic's SDK, Messages.
const { Anthropic } = require("@anthropic-ai/sdk");
const { run, MOST_TOKENS } = require("./driver.cjs");

const client = new Anthropic();
const asked = {
  model: "claude-sonnet-4-5",
  messages: [{ role: "user", content: "say hi" }],
  max_tokens: MOST_TOKENS,
};

async function* texts(reply) {
  for await (const each of reply) if (each.type === "content_block_delta") yield each.delta.text;
}

run(
  async () => (await client.messages.create(asked)).content[0].text,
  async () => {
    const reply = await client.messages.create({ ...asked, stream: true });
    return { pieces: texts(reply), close: () => reply.controller.abort() };
  },
);
