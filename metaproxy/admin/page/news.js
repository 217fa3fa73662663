// One line that says what an action did; screen readers read it out.

const news = document.querySelector("#news");

export function tell(text) {
  news.textContent = text;
}

// Carries out `act`, and tells what it returns, or why it was refused.
export async function attempt(act) {
  try {
    tell(await act());
  } catch (error) {
    tell([error.message, ...(error.problems ?? [])].join(" · "));
  }
}
