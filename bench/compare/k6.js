// The request of the environment, again and again, with a pause if there is one.
import http from 'k6/http';
import { sleep } from 'k6';
const params = { headers: { 'Content-Type': 'application/json', Authorization: 'Bearer bench' } };
const think = Number(__ENV.THINK);
export default function () {
  http.post(__ENV.URL, __ENV.BODY, params);
  if (think > 0) sleep(think);
}
