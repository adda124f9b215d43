import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Import } from './import.js';
import { client, Provider } from './tasks.js';

createRoot(document.getElementById('app') as HTMLElement).render(
  <StrictMode>
    <Provider client={client}>
      <Import />
    </Provider>
  </StrictMode>,
);
