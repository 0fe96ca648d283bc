// Keeps the page up to date and follows an order without a new page. Everything
// here is an addition: without it the page is read by loading it again.
"use strict";

(() => {
  // Puts new content in, and leaves open what is open and the focus where it is.
  const reachable = "a, button, input, select, summary, [tabindex]";
  const put = (element, html) => {
    const open = element.querySelector("details")?.open;
    const focused = [...element.querySelectorAll(reachable)].indexOf(document.activeElement);
    element.innerHTML = html;
    const details = element.querySelector("details");
    if (details && open) details.open = true;
    if (focused >= 0) element.querySelectorAll(reachable)[focused]?.focus({ preventScroll: true });
  };

  // The parts that follow the bank.
  const parts = new Map();
  document.querySelectorAll("[data-part]").forEach((e) => parts.set(e.dataset.part, e));
  // A page that follows one of the parts as a whole is asked for again when that changes.
  const fresh = document.querySelector("[data-fresh]");
  let asking = false;
  const refresh = async () => {
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-fresh]");
      if (next) put(fresh, next.innerHTML);
    } finally {
      asking = false;
    }
  };
  let source = null;
  const listen = () => {
    if (source || (parts.size === 0 && !fresh) || document.hidden) return;
    source = new EventSource("/events");
    source.addEventListener("part", (event) => {
      const { part, html } = JSON.parse(event.data);
      const element = parts.get(part);
      if (element) put(element, html);
      if (fresh?.dataset.fresh === part) refresh().catch(() => {});
    });
  };
  const rest = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  window.addEventListener("pagehide", rest);
  window.addEventListener("pageshow", listen);
  listen();

  // An order, hop by hop.
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const follow = async (order, into) => {
    for (let wait = 200; into.isConnected; wait = Math.min(2000, wait * 1.2)) {
      const answer = await fetch(`/orders/${encodeURIComponent(order)}/journey`);
      if (answer.ok) {
        const html = await answer.text();
        if (into.dataset.shown !== html) put(into, html);
        into.dataset.shown = html;
        if (into.querySelector("[data-over]")) return;
      }
      await pause(wait);
    }
  };
  const journey = document.getElementById("journey");
  if (journey?.dataset.follow && !journey.querySelector("[data-over]")) {
    follow(journey.dataset.follow, journey).catch(() => {});
  }
  const form = document.getElementById("place");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const answer = await fetch("/orders", {
        method: "POST",
        headers: { Accept: "application/json" },
        body: new URLSearchParams(new FormData(form)),
      });
      const said = await answer.json();
      if (answer.ok) {
        form.elements.key.value = said.nextKey;
        journey.innerHTML = "";
        const title = document.createElement("p");
        const link = document.createElement("a");
        link.href = `/orders/${encodeURIComponent(said.orderId)}`;
        link.textContent = said.orderId;
        title.append(`${journey.dataset.placed} `, link);
        const hops = document.createElement("div");
        journey.append(title, hops);
        button.disabled = false;
        await follow(said.orderId, hops);
      } else {
        journey.innerHTML = "";
        const text = document.createElement("p");
        text.className = "error";
        text.textContent = said.detail || said.title;
        journey.append(text);
      }
    } catch {
      form.submit(); // the page says what is wrong
    } finally {
      button.disabled = false;
    }
  });

  // The graphs.
  const graphs = document.getElementById("graph-parts");
  const draw = async (range) => {
    const answer = await fetch(`/graphs?range=${encodeURIComponent(range)}`, { headers: { Accept: "text/html" } });
    if (answer.ok && graphs.dataset.range === range) put(graphs, await answer.text());
  };
  document.querySelectorAll("a[data-range]").forEach((link) =>
    link.addEventListener("click", (event) => {
      event.preventDefault();
      document.querySelectorAll("a[data-range]").forEach((other) => other.removeAttribute("aria-current"));
      link.setAttribute("aria-current", "true");
      graphs.dataset.range = link.dataset.range;
      history.replaceState(null, "", link.getAttribute("href").replace(/#.*/, ""));
      draw(link.dataset.range).catch(() => {});
    }),
  );
  if (graphs) {
    setInterval(() => {
      if (!document.hidden) draw(graphs.dataset.range).catch(() => {});
    }, 10_000);
  }
})();
