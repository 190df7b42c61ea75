// OpenAI's SDK, Chat Completions.
const { OpenAI } = require("openai");
const { run, MOST_TOKENS } = require("./driver.cjs");

const client = new OpenAI();
const asked = {
  model: "gpt-4o",
  messages: [{ role: "user", content: "say hi" }],
  max_tokens: MOST_TOKENS,
};

async function* texts(reply) {
  for await (const part of reply) yield part.choices[0]?.delta?.content ?? "";
}

run(
  async () => (await client.chat.completions.create(asked)).choices[0].message.content,
  async () => {
    const reply = await client.chat.completions.create({ ...asked, stream: true });
    return { pieces: texts(reply), close: () => reply.controller.abort() };
  },
);
