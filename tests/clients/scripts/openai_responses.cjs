// OpenAI's SDK, Responses.
const { OpenAI } = require("openai");
const { run, MOST_TOKENS } = require("./driver.cjs");

const client = new OpenAI();
const asked = { model: "gpt-4o", input: "say hi", max_output_tokens: MOST_TOKENS };

async function* texts(reply) {
  for await (const each of reply) if (each.type === "response.output_text.delta") yield each.delta;
}

run(
  async () => (await client.responses.create(asked)).output_text,
  async () => {
    const reply = await client.responses.create({ ...asked, stream: true });
    return { pieces: texts(reply), close: () => reply.controller.abort() };
  },
);
