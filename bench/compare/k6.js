// The request of the environment, again and again, with a pause if there is one, or as often a second as RATE says.
import http from 'k6/http';
import { sleep } from 'k6';
const params = { headers: { 'Content-Type': 'application/json', Authorization: 'Bearer bench' } };
export const options = Number(__ENV.RATE) > 0 ? { scenarios: { paced: {
  executor: 'constant-arrival-rate', rate: Number(__ENV.RATE), timeUnit: '1s', duration: __ENV.DURATION, preAllocatedVUs: 50,
} } } : {};
const think = Number(__ENV.THINK);
export default function () {
  http.post(__ENV.URL, __ENV.BODY, params);
  if (think > 0) sleep(think);
}
