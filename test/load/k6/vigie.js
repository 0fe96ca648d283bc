// The HTTP part of `vigie load` for k6: orders, orders with keys and repeats of
// them, wrong orders, and reads, at a rate that no answer changes.
//
//   k6 run -e RATE=20 -e DURATION=30s test/load/k6/vigie.js
//
// COMMANDE, SUIVI and ANALYSEUR are the services' addresses, TOKEN is sent to them
// where it is set. k6 knows nothing of what an accepted order is owed: run
// `vigie audit` afterwards, or use `vigie load`.
import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";
import { Rate } from "k6/metrics";

const commande = __ENV.COMMANDE || "http://127.0.0.1:3001";
const suivi = __ENV.SUIVI || "http://127.0.0.1:3002";
const analyseur = __ENV.ANALYSEUR || "http://127.0.0.1:3003";
const available = new Rate("orders_available");
const run = Date.now().toString(36);

export const options = {
  scenarios: {
    users: {
      // An open model: as many begin as the rate says, whether or not others are done.
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 20),
      timeUnit: "1s",
      duration: __ENV.DURATION || "30s",
      preAllocatedVUs: 50,
      maxVUs: 512,
    },
  },
  thresholds: {
    orders_available: ["rate>=0.999"],
    "http_req_duration{kind:order}": ["p(99)<500"],
    checks: ["rate>=0.999"],
    // What k6 could not send for lack of a free user: then the load was not as meant.
    dropped_iterations: ["count==0"],
  },
  summaryTrendStats: ["med", "p(90)", "p(99)", "p(99.9)", "max"],
};

// As vigie load mixes by default.
const mix = [
  ["order", 60],
  ["keyed", 10],
  ["repeat", 3],
  ["wrong", 2],
  ["status", 15],
  ["list", 5],
  ["statistics", 5],
];

function kindOf() {
  let draw = Math.random() * mix.reduce((sum, part) => sum + part[1], 0);
  for (const [kind, weight] of mix) {
    draw -= weight;
    if (draw < 0) return kind;
  }
  return "order";
}

function params(kind, more = {}) {
  const headers = Object.assign({ "Content-Type": "application/json" }, more);
  if (__ENV.TOKEN) headers.Authorization = `Bearer ${__ENV.TOKEN}`;
  return { headers, tags: { kind }, timeout: "10s" };
}

// Half of the amounts are below 40 euros, a few in the thousands; a few users order most.
function order() {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const cents = Math.round(Math.min(Math.max(40 * Math.exp(normal), 1), 5000) * 100);
  const user = Math.floor(1000 * Math.pow(Math.random(), 3)) + 1;
  return `{"userId":"load-customer-${user}","amount":${(cents / 100).toFixed(2)},"items":["novel","tea set"]}`;
}

function place(kind, body, key) {
  const answer = http.post(`${commande}/orders`, body, params("order", key ? { "Idempotency-Key": key } : {}));
  available.add(answer.status === 201);
  check(answer, { [`${kind}: 201`]: (r) => r.status === 201 });
  return answer.status === 201 ? answer.json("orderId") : "";
}

// What a user did last; each of k6's users has its own.
let lastOrder = "";
let lastKeyed = null;

export default function () {
  switch (kindOf()) {
    case "keyed": {
      const body = order();
      const key = `k6-${run}-${exec.scenario.iterationInTest}`;
      const id = place("keyed", body, key);
      lastOrder = id || lastOrder;
      lastKeyed = id ? { body, key, id } : lastKeyed;
      return;
    }
    case "repeat":
      if (lastKeyed) {
        const id = place("repeat", lastKeyed.body, lastKeyed.key);
        check(id, { "repeat: the same order": (again) => again === lastKeyed.id });
        return;
      }
      break;
    case "wrong": {
      const answer = http.post(`${commande}/orders`, '{"userId":"load-customer-1","amount":-20}', {
        ...params("wrong"),
        responseCallback: http.expectedStatuses(400, 422),
      });
      check(answer, { "wrong: refused": (r) => r.status >= 400 && r.status < 500 });
      return;
    }
    case "status":
      if (lastOrder) {
        const answer = http.get(`${suivi}/orders/${lastOrder}/status`, {
          ...params("status"),
          responseCallback: http.expectedStatuses(200, 404), // it may not be visible yet
        });
        check(answer, { "status: answered": (r) => r.status === 200 || r.status === 404 });
        return;
      }
      break;
    case "list":
      check(http.get(`${suivi}/orders?limit=20`, params("list")), { "list: 200": (r) => r.status === 200 });
      return;
    case "statistics":
      check(http.get(`${analyseur}/statistics`, params("statistics")), { "statistics: 200": (r) => r.status === 200 });
      return;
  }
  lastOrder = place("order", order()) || lastOrder;
}
