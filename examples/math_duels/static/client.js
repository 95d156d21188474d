// Loads the official Socket.IO browser client: from this server when it has it, else from the CDN.
// It must not know the game.

const PATIENCE_MS = 8000;

function loadScript({ url, integrity }) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const timer = setTimeout(() => fail("did not answer in time"), PATIENCE_MS);
    const fail = (why) => {
      clearTimeout(timer);
      script.remove();
      reject(new Error(`${url} ${why}`));
    };
    if (integrity) {
      script.integrity = integrity;
      script.crossOrigin = "anonymous";
    }
    script.onload = () => {
      clearTimeout(timer);
      if (typeof window.io === "function") resolve(window.io);
      else fail("is not the Socket.IO client");
    };
    script.onerror = () => fail("could not be loaded");
    script.src = url;
    document.head.append(script);
  });
}

/** The `io` function from the first source that works; throws when none does. */
export async function loadClient(sources) {
  const faults = [];
  for (const source of sources) {
    try {
      return await loadScript(source);
    } catch (error) {
      faults.push(error.message);
    }
  }
  throw new Error(faults.join("; "));
}
