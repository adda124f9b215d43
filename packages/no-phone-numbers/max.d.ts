/** What the types of class-validator name. */
export type CountryCode = string;
export declare function parsePhoneNumber(text: string, country?: CountryCode): never;
