// What each script over an SDK for Node does with it, by its first argument: see driver.py.
const AT_ONCE = 16;

const error = (raised) => `error: ${raised?.constructor?.name} ${raised?.message}`;

async function read({ pieces, close }, cancels) {
  for await (const piece of pieces) {
    process.stdout.write(piece);
    if (cancels && piece) {
      close();
      return;
    }
  }
  console.log();
}

async function run(plain, stream) {
  const mode = process.argv[2];
  try {
    if (mode === "plain") {
      console.log(await plain());
    } else if (mode === "fan") {
      const one = () => plain().catch(error);
      console.log((await Promise.all(Array.from({ length: AT_ONCE }, one))).join("\n"));
    } else {
      await read(await stream(), mode === "cancel");
    }
  } catch (raised) {
    console.log(error(raised));
    process.exitCode = 1;
  }
}

module.exports = { run, MOST_TOKENS: 200 };
